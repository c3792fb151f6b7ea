"""The planner's values and rules, one module each; ``planner`` offers them all."""
