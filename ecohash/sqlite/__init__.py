"""Django's SQLite backend, except that the threads of a process queue for the one writer's place."""
