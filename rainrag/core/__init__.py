"""What knows nothing of rain: types, errors, files, images, statistics, jobs, the Hub."""
