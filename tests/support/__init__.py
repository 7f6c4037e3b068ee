"""What several test suites need: deadlines instead of sleeps, and real servers."""
