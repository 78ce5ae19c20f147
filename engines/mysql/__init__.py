"""The MySQL and MariaDB engine: server facts, dump reading, parallel load, binary logs, replay, snapshot and undo."""
