"""What the images are built from where nothing can be pulled."""
