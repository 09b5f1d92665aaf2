"""What is compared, and the processes it takes."""
