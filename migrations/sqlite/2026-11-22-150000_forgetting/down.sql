-- What is gone was shown to nobody.
SELECT 1;
