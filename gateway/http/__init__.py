"""What every HTTP wing shares: identity, CORS, problem bodies, ranges, deadlines, metrics."""
