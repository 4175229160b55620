"""What every wing stands on: stored objects, events, faults, counts and errors."""
