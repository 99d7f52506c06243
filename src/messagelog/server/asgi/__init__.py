"""The layers in front of the routes: errors, CORS, limits of the protocol, and the server itself."""
