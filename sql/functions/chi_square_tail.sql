-- The probability that a chi-square variable of so many degrees of freedom (an integer from 1 on) exceeds x: the p value of
-- a chi-square test. It is 1 where x is 0 or less, NULL where either is unknown, and right to 12 digits down to 1e-300.
-- By repeated integration by parts it is a finite sum of positive terms, with erfc(sqrt(x / 2)) before it where the
-- degrees are odd (Abramowitz and Stegun, 26.4.4 and 26.4.5). No term is subtracted, so small tails keep their digits.
create or replace macro chi_square_tail(x, degrees) as
case
    when x <= 0 and degrees >= 1 then 1
    when degrees % 2 = 0 then
        list_sum(list_transform(range(degrees // 2), lambda i: exp(i * ln(x / 2) - x / 2 - lgamma(i + 1))))
    when degrees = 1 then complementary_error(sqrt(x / 2))
    when degrees % 2 = 1 then
        complementary_error(sqrt(x / 2))
        + list_sum(
            list_transform(range(degrees // 2), lambda i: exp((i + 0.5) * ln(x / 2) - x / 2 - lgamma(i + 1.5)))
        )
end;

-- erfc(z) for z from 0 on, by the midpoint rule for its integral from 0 to infinity of exp(-t^2) / (t^2 + z^2), with steps
-- of a half (Chiarella and Reichel, 1968; Matta and Reichel, 1971). The second term is what the rule misses at the pole iz.
-- Thirteen steps leave an error below 1e-16, and both terms are positive.
create or replace macro complementary_error(z) as
z * exp(-z * z) / pi() * list_sum(
    list_transform(range(13), lambda n: exp(-power((n + 0.5) / 2, 2)) / (power((n + 0.5) / 2, 2) + z * z))
)
+ case when z < 2 * pi() then 2 / (1 + exp(4 * pi() * z)) else 0 end;
