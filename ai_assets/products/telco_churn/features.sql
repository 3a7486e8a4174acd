-- What models see of a customer. Whether somebody is a woman or a senior is not among it: these
-- columns only judge, and `known_at: NULL` in the declaration keeps them out.
SELECT
    r._row_id,
    r.partner,
    r.dependents,
    r.tenure,
    r.phone_service,
    r.multiple_lines,
    r.internet_service,
    r.online_security,
    r.online_backup,
    r.device_protection,
    r.tech_support,
    r.streaming_tv,
    r.streaming_movies,
    r.contract,
    r.paperless_billing,
    r.payment_method,
    r.monthly_charges,
    r.total_charges,
    -- the month's bill against the customer's usual one: above 1 where the price has gone up
    r.monthly_charges * r.tenure / nullif(r.total_charges, 0) AS price_rise,
    -- how many of the services that can be added to a line somebody has
    (r.online_security = 'Yes')::BIGINT + (r.online_backup = 'Yes')::BIGINT
        + (r.device_protection = 'Yes')::BIGINT + (r.tech_support = 'Yes')::BIGINT
        + (r.streaming_tv = 'Yes')::BIGINT + (r.streaming_movies = 'Yes')::BIGINT AS added_services
FROM request AS r
