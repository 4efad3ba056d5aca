"""A streaming form as plain C99: no dependency, no allocation, one ``step``."""
