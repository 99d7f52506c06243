"""The journal in an SQLite file: the writer, the file and its log, copies."""
