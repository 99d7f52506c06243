"""What stands before the routes: errors, CORS, limits of the protocol, the server itself."""
