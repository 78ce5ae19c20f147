"""Does the work: no Textual, no Rich, no printing. Importable and testable without a terminal."""
