"""How well ``pgtrace why`` tells effects from none: known effects, planted in real and made logs, and what it says."""
