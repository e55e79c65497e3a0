"""Second derivatives of a frozen objective: exact products with the Hessian, and both ends of its spectrum."""
