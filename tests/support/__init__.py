"""What the tests share: strategies and comparisons, images, runs, searches, workers."""
