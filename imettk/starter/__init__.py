"""From a competition's folder to a recipe for it, with a reason for each guess: `imettk new`."""
