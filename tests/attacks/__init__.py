"""What a stranger or bad luck can do to the running platform; `make test-attacks`."""
