"""Pod and site become a job: plan, script, and the fixed shell runtime that every script carries."""
