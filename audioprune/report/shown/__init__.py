"""What a terminal shows of runs and tables: one short table, three paths, what to type next."""
