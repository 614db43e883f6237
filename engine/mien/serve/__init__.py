"""The engine as a service: requests and answers as JSON lines on the standard streams of a subprocess."""
