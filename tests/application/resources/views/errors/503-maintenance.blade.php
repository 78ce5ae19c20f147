<!doctype html>
<title>Maintenance</title>
<p>We are restoring the service. Please come back in a while.</p>
