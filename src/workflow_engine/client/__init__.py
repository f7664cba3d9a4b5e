"""The client side of the HTTP API: what the commands that speak to a running engine have in common.

Nothing here imports the server or knows the database; answers are the JSON that every other client gets.
"""
