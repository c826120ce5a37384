-- A quantile of values that are sorted, such as list_sort(list(seconds)), and the 95 % interval of the true one.
-- The interval needs nothing to be known of the distribution: it lies between two of the sorted values, whose ranks are 1.96
-- standard deviations of a binomial count away from the quantile's own (Conover, Practical Nonparametric Statistics),
-- rounded outwards. Where too few values are there for such a rank, that end is NULL.
create or replace macro quantile_of(sorted, share) as
list_aggregate(sorted, 'quantile_cont', share);

create or replace macro quantile_low(sorted, share) as
case
    when floor(len(sorted) * share - 1.959963984540054e0 * sqrt(len(sorted) * share * (1 - share))) >= 1
        then sorted[floor(len(sorted) * share - 1.959963984540054e0 * sqrt(len(sorted) * share * (1 - share)))::bigint]
end;

create or replace macro quantile_high(sorted, share) as
case
    when ceil(len(sorted) * share + 1.959963984540054e0 * sqrt(len(sorted) * share * (1 - share))) < len(sorted)
        then sorted[ceil(len(sorted) * share + 1.959963984540054e0 * sqrt(len(sorted) * share * (1 - share)))::bigint + 1]
end;
