"""Keep to a CRM's limits: budgets, permits, the circuit breaker, deadlines of calls."""
