DROP TABLE action_requests;
DROP TABLE user_settings;
DROP TABLE spending;
DROP TABLE budgets;
DROP TABLE summaries;
DROP TABLE runs;
DROP TABLE assistants;
