"""What starts work: sensors, schedules, jobs and the journey of `make run`."""
