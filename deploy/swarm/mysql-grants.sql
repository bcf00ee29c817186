-- BigCapital creates a database for each new organisation. Here the name of its user can't come from a variable: with another BIGCAPITAL_DB_USER, change it.
GRANT ALL PRIVILEGES ON `bigcapital\_tenant\_%`.* TO 'bigcapital'@'%';
