"""One file, one Screen. A screen draws a session state and sends commands; it decides nothing."""
