"""From a competition's folder to the recipe that a person would write for it, with the reason for each guess."""
