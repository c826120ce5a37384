-- The 95 % Wilson interval of a rate: between which rates (wilson_low, wilson_high) the true one lies, to judge by
-- `successes` out of `trials`. Both are within 0 and 1, and NULL where there are no trials. Ask it of sums of counts, never
-- of averages of rates: wilson_low(sum(reached_count), sum(entered_count)).
-- 1.96 is the standard normal's 97.5 % quantile, 1.92 half its square. The textbook's difference of two nearly equal terms is
-- a quotient here, so 0 successes give exactly 0. The upper end is 1 minus the lower end of the failures' rate.
create or replace macro wilson_low(successes, trials) as
case
    when trials > 0 and successes between 0 and trials
        then successes::double * successes / trials / (
            successes + 1.920729410347062e0
            + 1.959963984540054e0
            * sqrt(successes::double * (trials - successes) / trials + 0.960364705173531e0)
        )
end;

create or replace macro wilson_high(successes, trials) as
case
    when trials > 0 and successes between 0 and trials
        then 1 - (trials - successes)::double * (trials - successes) / trials / (
            trials - successes + 1.920729410347062e0
            + 1.959963984540054e0
            * sqrt(successes::double * (trials - successes) / trials + 0.960364705173531e0)
        )
end;
