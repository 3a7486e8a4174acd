-- What is known two hours before a flight's scheduled hour (prediction_time), and nothing later.
--
-- Everything that depends on history alone stands in CTEs that never mention `request`: the server
-- computes them once for each snapshot of the tables. A state is kept for every full hour; a request
-- looks up the hour that its prediction_time falls in. No state reaches back further than 24 hours.
-- Full hours are whole numbers, counted from 1970: to add, group and join these is quicker by far
-- than with moments of a time zone.
-- Sums are of whole numbers, so that they are the same whatever the order of the rows.
WITH
-- When a flight's departure and arrival can first be counted: at the full hour by which they are
-- known, and never before the hour after its scheduled one. greatest() passes over nulls, so what is
-- never known (a cancelled flight) must be kept apart, or it would look as if it had left.
legs AS (
    SELECT
        _row_id, origin, carrier, dest, tailnum, minute, dep_delay, arr_delay,
        dep_delay_known_at, arr_delay_known_at,
        time_hour + to_minutes(minute) AS scheduled,
        epoch_us(time_hour) // 3_600_000_000 AS scheduled_hour,
        CASE WHEN dep_delay_known_at IS NOT NULL THEN greatest(
            (epoch_us(dep_delay_known_at) - 1) // 3_600_000_000,
            epoch_us(time_hour) // 3_600_000_000
        ) + 1 END AS departure_seen,
        CASE WHEN arr_delay_known_at IS NOT NULL THEN greatest(
            (epoch_us(arr_delay_known_at) - 1) // 3_600_000_000,
            epoch_us(time_hour) // 3_600_000_000
        ) + 1 END AS arrival_seen
    FROM flights
),

-- Flights that should have left and have not (or not that anybody knew), for four hours.
waiting AS (
    SELECT
        origin, carrier, dest,
        scheduled_hour + age AS full_hour,
        60 * age - minute AS minutes
    FROM legs, unnest(range(1, 5)) AS ages (age)
    WHERE departure_seen IS NULL OR scheduled_hour + age < departure_seen
),

-- Sums are made twice: first of the hour in which something is first counted, then of the 24 (or 6)
-- hours that it counts for. So the work grows with the hours of a place, not with its flights.
origin_departures AS (
    SELECT
        origin, departure_seen + age AS full_hour,
        (sum(delays) FILTER (WHERE age < 1))::BIGINT / sum(n) FILTER (WHERE age < 1) AS mean_1h,
        (sum(delays) FILTER (WHERE age < 3))::BIGINT / sum(n) FILTER (WHERE age < 3) AS mean_3h,
        sum(late) FILTER (WHERE age < 2) / sum(n) FILTER (WHERE age < 2) AS late_2h,
        coalesce(sum(n) FILTER (WHERE age < 2), 0)::BIGINT AS departed_2h,
        sum(delays)::BIGINT / sum(n) AS mean_24h
    FROM (
        SELECT
            origin, departure_seen, count(*) AS n, sum(dep_delay)::BIGINT AS delays,
            count(*) FILTER (WHERE dep_delay >= 15) AS late
        FROM legs
        WHERE departure_seen IS NOT NULL
        GROUP BY origin, departure_seen
    ), unnest(range(0, 24)) AS ages (age)
    GROUP BY origin, full_hour
),

origin_medians AS (
    SELECT origin, departure_seen + age AS full_hour, median(dep_delay) AS median_2h
    FROM legs, unnest(range(0, 2)) AS ages (age)
    WHERE departure_seen IS NOT NULL
    GROUP BY origin, full_hour
),

origin_waiting AS (
    SELECT
        origin, full_hour, count(*) AS overdue, sum(minutes)::BIGINT AS overdue_minutes
    FROM waiting
    GROUP BY origin, full_hour
),

origin_arrivals AS (
    SELECT
        origin, arrival_seen + age AS full_hour,
        sum(delays)::BIGINT / sum(n) AS arrived_mean_6h,
        sum(lost)::BIGINT / sum(n) AS lost_mean_6h
    FROM (
        SELECT
            origin, arrival_seen, count(*) AS n, sum(arr_delay)::BIGINT AS delays,
            sum(arr_delay - dep_delay)::BIGINT AS lost
        FROM legs
        WHERE arrival_seen IS NOT NULL
        GROUP BY origin, arrival_seen
    ), unnest(range(0, 6)) AS ages (age)
    GROUP BY origin, full_hour
),

-- The state of each airport of departure.
origin_hours AS (
    SELECT
        d.*, m.median_2h,
        coalesce(w.overdue, 0) AS overdue, coalesce(w.overdue_minutes, 0) AS overdue_minutes,
        a.arrived_mean_6h, a.lost_mean_6h
    FROM origin_departures AS d
    LEFT JOIN origin_medians AS m ON m.origin = d.origin AND m.full_hour = d.full_hour
    LEFT JOIN origin_waiting AS w ON w.origin = d.origin AND w.full_hour = d.full_hour
    LEFT JOIN origin_arrivals AS a ON a.origin = d.origin AND a.full_hour = d.full_hour
),

carrier_waiting AS (
    SELECT origin, carrier, full_hour, count(*) AS overdue, max(minutes) AS longest
    FROM waiting
    GROUP BY origin, carrier, full_hour
),

carrier_departures AS (
    SELECT
        origin, carrier, departure_seen + age AS full_hour,
        (sum(delays) FILTER (WHERE age < 3))::BIGINT / sum(n) FILTER (WHERE age < 3) AS mean_3h,
        sum(late) FILTER (WHERE age < 3) / sum(n) FILTER (WHERE age < 3) AS late_3h,
        sum(late) / sum(n) AS late_24h
    FROM (
        SELECT
            origin, carrier, departure_seen, count(*) AS n, sum(dep_delay)::BIGINT AS delays,
            count(*) FILTER (WHERE dep_delay >= 15) AS late
        FROM legs
        WHERE departure_seen IS NOT NULL
        GROUP BY origin, carrier, departure_seen
    ), unnest(range(0, 24)) AS ages (age)
    GROUP BY origin, carrier, full_hour
),

-- The state of each carrier at each airport of departure.
carrier_hours AS (
    SELECT d.*, coalesce(w.overdue, 0) AS overdue, coalesce(w.longest, 0) AS longest
    FROM carrier_departures AS d
    LEFT JOIN carrier_waiting AS w
        ON w.origin = d.origin AND w.carrier = d.carrier AND w.full_hour = d.full_hour
),

dest_arrivals AS (
    SELECT
        dest, arrival_seen + age AS full_hour,
        sum(delays)::BIGINT / sum(n) AS arrived_mean_6h,
        sum(lost)::BIGINT / sum(n) AS lost_mean_6h
    FROM (
        SELECT
            dest, arrival_seen, count(*) AS n, sum(arr_delay)::BIGINT AS delays,
            sum(arr_delay - dep_delay)::BIGINT AS lost
        FROM legs
        WHERE arrival_seen IS NOT NULL
        GROUP BY dest, arrival_seen
    ), unnest(range(0, 6)) AS ages (age)
    GROUP BY dest, full_hour
),

dest_waiting AS (
    SELECT dest, full_hour, count(*) AS overdue
    FROM waiting
    GROUP BY dest, full_hour
),

dest_departures AS (
    SELECT
        dest, departure_seen + age AS full_hour,
        (sum(delays) FILTER (WHERE age < 4))::BIGINT / sum(n) FILTER (WHERE age < 4) AS mean_4h,
        sum(late) / sum(n) AS late_24h
    FROM (
        SELECT
            dest, departure_seen, count(*) AS n, sum(dep_delay)::BIGINT AS delays,
            count(*) FILTER (WHERE dep_delay >= 15) AS late
        FROM legs
        WHERE departure_seen IS NOT NULL
        GROUP BY dest, departure_seen
    ), unnest(range(0, 24)) AS ages (age)
    GROUP BY dest, full_hour
),

-- The state of the way to each airport of arrival.
dest_hours AS (
    SELECT d.*, coalesce(w.overdue, 0) AS overdue, a.arrived_mean_6h, a.lost_mean_6h
    FROM dest_departures AS d
    LEFT JOIN dest_waiting AS w ON w.dest = d.dest AND w.full_hour = d.full_hour
    LEFT JOIN dest_arrivals AS a ON a.dest = d.dest AND a.full_hour = d.full_hour
),

-- Each aircraft's flights from New York, one at a time.
aircraft AS (
    SELECT tailnum, scheduled, dest, dep_delay, dep_delay_known_at, arr_delay, arr_delay_known_at
    FROM legs
    WHERE tailnum IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY tailnum, scheduled ORDER BY _row_id) = 1
),

-- Observations, with what changed in the hours before.
observed AS (
    SELECT
        origin, known_at, temp, dewp, humid, wind_dir, wind_speed, precip, pressure, visib,
        coalesce(wind_gust, 0) AS wind_gust,
        pressure - lag(pressure, 3) OVER past AS pressure_change_3h,
        temp - lag(temp, 3) OVER past AS temp_change_3h,
        sum(round(precip * 100)::BIGINT) OVER (
            PARTITION BY origin ORDER BY known_at
            RANGE BETWEEN INTERVAL 5 HOURS PRECEDING AND CURRENT ROW
        )::BIGINT AS precip_6h,
        min(visib) OVER (
            PARTITION BY origin ORDER BY known_at
            RANGE BETWEEN INTERVAL 2 HOURS PRECEDING AND CURRENT ROW
        ) AS visib_min_3h
    FROM weather
    WINDOW past AS (PARTITION BY origin ORDER BY known_at)
),

-- The request, with the full hour whose states it may see.
asked AS (
    SELECT
        *,
        epoch_us(prediction_time) // 3_600_000_000 AS full_hour,
        time_hour AT TIME ZONE 'America/New_York' AS local
    FROM request
)

SELECT
    r._row_id,

    -- the schedule
    r.carrier,
    r.origin,
    r.dest,
    hour(r.local) AS hour,
    isodow(r.local) AS weekday,
    r.minute,
    hour(r.local) * 60 + r.minute AS departure_minute,
    r.sched_arr_time // 100 AS arrival_hour,
    r.distance,

    -- delays at the airport of departure
    o.mean_1h AS origin_delay_1h,
    o.mean_3h AS origin_delay_3h,
    o.median_2h AS origin_delay_median_2h,
    o.late_2h AS origin_late_2h,
    o.departed_2h AS origin_departed_2h,
    o.mean_24h AS origin_delay_24h,
    o.overdue AS origin_overdue,
    o.overdue_minutes AS origin_overdue_minutes,
    o.arrived_mean_6h AS origin_arrived_delay_6h,
    o.lost_mean_6h AS origin_lost_on_the_way_6h,

    -- delays of the carrier there
    c.mean_3h AS carrier_delay_3h,
    c.late_3h AS carrier_late_3h,
    c.late_24h AS carrier_late_24h,
    c.overdue AS carrier_overdue,
    c.longest AS carrier_overdue_longest,

    -- delays on the way to the airport of arrival
    d.mean_4h AS dest_delay_4h,
    d.late_24h AS dest_late_24h,
    d.overdue AS dest_overdue,
    d.arrived_mean_6h AS dest_arrived_delay_6h,
    d.lost_mean_6h AS dest_lost_on_the_way_6h,

    -- the aircraft's previous flight: its delay if it has left, else how long it is overdue
    CASE
        WHEN l.scheduled < r.prediction_time - INTERVAL 18 HOURS THEN NULL
        WHEN l.dep_delay_known_at <= r.prediction_time THEN l.dep_delay
        WHEN l.scheduled IS NOT NULL
        THEN least(date_diff('minute', l.scheduled, r.prediction_time), 240)
    END AS aircraft_delay,
    CASE
        WHEN l.scheduled < r.prediction_time - INTERVAL 18 HOURS THEN NULL
        WHEN l.arr_delay_known_at <= r.prediction_time THEN l.arr_delay
    END AS aircraft_arrived_delay,
    CASE
        WHEN l.scheduled >= r.prediction_time - INTERVAL 18 HOURS
        THEN date_diff('minute', l.scheduled, r.prediction_time)
    END AS aircraft_minutes_since,
    year(r.local) - p.year AS aircraft_age,
    p.seats,
    p.engines,

    -- the last observation of the weather
    w.temp,
    w.dewp,
    w.humid,
    w.wind_dir,
    w.wind_speed,
    w.wind_gust,
    w.precip,
    w.pressure,
    w.visib,
    w.pressure_change_3h,
    w.temp_change_3h,
    w.precip_6h,
    w.visib_min_3h
FROM asked AS r
-- These two first: they sort the rows, which are narrow still.
ASOF LEFT JOIN aircraft AS l ON l.tailnum = r.tailnum AND l.scheduled < r.prediction_time
ASOF LEFT JOIN observed AS w ON w.origin = r.origin AND w.known_at <= r.prediction_time
LEFT JOIN origin_hours AS o ON o.origin = r.origin AND o.full_hour = r.full_hour
LEFT JOIN carrier_hours AS c ON c.origin = r.origin AND c.carrier = r.carrier AND c.full_hour = r.full_hour
LEFT JOIN dest_hours AS d ON d.dest = r.dest AND d.full_hour = r.full_hour
LEFT JOIN planes AS p ON p.tailnum = r.tailnum
