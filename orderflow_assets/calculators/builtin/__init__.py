"""The calculators that come with the package, one file each."""
