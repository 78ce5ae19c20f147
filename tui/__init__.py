"""The app shell: command line, app, plain mode, keys, theme and widgets."""
