"""Networks as they were before anything was pruned: public ones, and those that are imitated."""
