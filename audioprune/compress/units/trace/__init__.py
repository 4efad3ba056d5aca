"""One traced forward pass, in which every axis of every tensor says whose units lie on it."""
