"""The application that trains: a run's configuration, its directory, stopping and resuming it bit for bit."""
