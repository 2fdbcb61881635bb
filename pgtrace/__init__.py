"""Which PostgreSQL queries got slow, which background process was responsible, and how sure are we?"""
