-- The odds ratio of several 2x2 tables taken together, and the variance of its logarithm, as aggregates of one row a table:
-- with a fact, a had the outcome and b had not; without it, c had it and d had not. Pass them as doubles.
-- The odds ratio is that of Mantel and Haenszel (1959), NULL where it would divide by 0. The variance is that of Robins,
-- Breslow and Greenland (1986).
create or replace macro mantel_haenszel(a, b, c, d) as
sum(a * d / (a + b + c + d)) / nullif(sum(b * c / (a + b + c + d)), 0);

create or replace macro mantel_haenszel_variance(a, b, c, d) as
sum((a + d) / (a + b + c + d) * a * d / (a + b + c + d)) / (2 * power(sum(a * d / (a + b + c + d)), 2))
+ sum(
    (a + d) / (a + b + c + d) * b * c / (a + b + c + d) + (b + c) / (a + b + c + d) * a * d / (a + b + c + d)
) / (2 * sum(a * d / (a + b + c + d)) * sum(b * c / (a + b + c + d)))
+ sum((b + c) / (a + b + c + d) * b * c / (a + b + c + d)) / (2 * power(sum(b * c / (a + b + c + d)), 2));

-- The 95 % interval of an odds ratio: none where it is 0.
create or replace macro odds_ratio_low(odds_ratio, log_variance) as
case when odds_ratio > 0 then odds_ratio * exp(-1.959963984540054e0 * sqrt(log_variance)) end;

create or replace macro odds_ratio_high(odds_ratio, log_variance) as
case when odds_ratio > 0 then odds_ratio * exp(1.959963984540054e0 * sqrt(log_variance)) end;
