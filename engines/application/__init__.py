"""The application around the database: its commands, its health, its log."""
