"""Side by side with what else there is: `make bench`."""
