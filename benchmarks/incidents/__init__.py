"""Real incidents: a real server, a steady load and one labelled cause at a time; and how `pgtrace why` does on them."""
