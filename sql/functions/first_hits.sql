-- The short way of funnel(): in some events of a unit, such as all of them, the first one that performs each step.
-- A step is within reach if every step before it has a hit or is optional. If the first hits of the steps within reach rise
-- strictly in time and end within the window of the first, they are the best chain of these events. No chain gets further or
-- performs more steps, for it has only the steps within reach. None starts earlier. Of those with the same steps none ends
-- earlier, for none performs any step before its first hit. Ties of time are not rising, so the order of events at one
-- time does not matter here, and one event does not fill two steps.
-- first_hits looks at eight steps; steps_in_reach is NULL where it would need more.
create or replace macro first_hits(step_number, time_us) as
{
    'step_1': min(time_us) filter (step_number = 1),
    'step_2': min(time_us) filter (step_number = 2),
    'step_3': min(time_us) filter (step_number = 3),
    'step_4': min(time_us) filter (step_number = 4),
    'step_5': min(time_us) filter (step_number = 5),
    'step_6': min(time_us) filter (step_number = 6),
    'step_7': min(time_us) filter (step_number = 7),
    'step_8': min(time_us) filter (step_number = 8)
};

create or replace macro steps_in_reach(firsts, steps, optional) as
case
    when firsts.step_1 is null then 0
    when firsts.step_2 is null and 2 <= len(steps) and not list_contains(optional, steps[2]) then 1
    when firsts.step_3 is null and 3 <= len(steps) and not list_contains(optional, steps[3]) then 2
    when firsts.step_4 is null and 4 <= len(steps) and not list_contains(optional, steps[4]) then 3
    when firsts.step_5 is null and 5 <= len(steps) and not list_contains(optional, steps[5]) then 4
    when firsts.step_6 is null and 6 <= len(steps) and not list_contains(optional, steps[6]) then 5
    when firsts.step_7 is null and 7 <= len(steps) and not list_contains(optional, steps[7]) then 6
    when firsts.step_8 is null and 8 <= len(steps) and not list_contains(optional, steps[8]) then 7
    when len(steps) <= 8 then 8
end;

-- Each time, NULL where a step has no hit, up to the step that `reach` says.
create or replace macro first_times(firsts, reach) as
[
    firsts.step_1, firsts.step_2, firsts.step_3, firsts.step_4,
    firsts.step_5, firsts.step_6, firsts.step_7, firsts.step_8
][1:coalesce(reach, 8)];

create or replace macro first_hits_rise(firsts, reach) as
reach is not null
and (reach < 2 or firsts.step_2 is null or firsts.step_2 > firsts.step_1)
and (reach < 3 or firsts.step_3 is null or firsts.step_3 > coalesce(firsts.step_2, firsts.step_1))
and (reach < 4 or firsts.step_4 is null or firsts.step_4 > coalesce(firsts.step_3, firsts.step_2, firsts.step_1))
and (
    reach < 5 or firsts.step_5 is null
    or firsts.step_5 > coalesce(firsts.step_4, firsts.step_3, firsts.step_2, firsts.step_1)
)
and (
    reach < 6 or firsts.step_6 is null
    or firsts.step_6 > coalesce(firsts.step_5, firsts.step_4, firsts.step_3, firsts.step_2, firsts.step_1)
)
and (
    reach < 7 or firsts.step_7 is null
    or firsts.step_7
    > coalesce(firsts.step_6, firsts.step_5, firsts.step_4, firsts.step_3, firsts.step_2, firsts.step_1)
)
and (
    reach < 8 or firsts.step_8 is null
    or firsts.step_8
    > coalesce(firsts.step_7, firsts.step_6, firsts.step_5, firsts.step_4, firsts.step_3, firsts.step_2, firsts.step_1)
);
