"""Django's SQLite backend, with a queue of the threads of a process for the write lock, and daily backups."""
