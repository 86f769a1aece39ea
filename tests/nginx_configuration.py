"""The configuration by which nginx is the bucket of ``nginx_server``."""

from __future__ import annotations

CONFIGURATION = """
daemon off;
{user}
worker_processes {n_worker};
pid {state}/nginx.pid;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    types {{ }}
    default_type binary/octet-stream;
    server_tokens off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    keepalive_timeout 75s;
    client_body_temp_path {state}/temp/body;
    proxy_temp_path {state}/temp/proxy;
    fastcgi_temp_path {state}/temp/fastcgi;
    uwsgi_temp_path {state}/temp/uwsgi;
    scgi_temp_path {state}/temp/scgi;
    map_hash_bucket_size 1024;
    map_hash_max_size 262144;
    variables_hash_bucket_size 128;

    map $args $list_token {{ default ""; "~(?:^|&)continuation-token=(?<token>[A-Za-z0-9]+)" $token; }}
    map $args $list_asks_more {{
        default "";
        "~(?:^|&)start-after=[^&]" 1;
        "~(?:^|&)max-keys=(?!1000(?:&|$))" 1;
    }}
    map "$uri|$arg_prefix|$arg_delimiter|$list_token" $list_page {{
        default "";
{pages}
    }}
    map "$list_asks_more|$list_page|$list_token|$arg_prefix" $list_answer {{
        default 501;
        "~^1" 501;
        "~^[|](?<page>[0-9]+)[|]" $page;
        "~^[|][|][|](?:.*(?:/|%2[Ff]))?$" empty;
    }}
    map "$http_x_amz_checksum_mode|$http_range|$uri" $sum_crc64nvme {{
        default "";
{sums}
    }}
    map $sum_crc64nvme $sum_type {{ default "FULL_OBJECT"; "" ""; }}
    map $uri $md5_etag {{
        default "";
{etags}
    }}
    map "$md5_etag|$http_if_match" $if_match {{
        default wrong;
        "~^[|]" none;
        "~[|]$" none;
        "~^(?<md5>[^|]+)[|]\\k<md5>$" right;
    }}

    server {{
        listen {listen};
        {tls}
        root {root};
        max_ranges 1;
        absolute_redirect off;
        recursive_error_pages off;
        {errors}
        add_header x-amz-checksum-crc64nvme $sum_crc64nvme;
        add_header x-amz-checksum-type $sum_type;
        {etag}
        if ($args ~ "(?:^|&)list-type=2") {{ rewrite ^ /-/list/$list_answer last; }}
        location / {{
            limit_except GET {{ deny all; }}
            set $early $sum_crc64nvme;  # a map is evaluated once, and this one goes by the address asked for
            if ($if_match = wrong) {{ return 412; }}
            if ($if_match = right) {{ rewrite ^ /-/inner$uri last; }}
            try_files $uri =404;
        }}
        location ^~ /-/inner/ {{
            internal;
            proxy_pass http://unix:{state}/inner.sock:/;
            proxy_http_version 1.1;
            proxy_set_header If-Match "";
            proxy_set_header Connection "";
            proxy_max_temp_file_size 0;
        }}
        location = /-/ready {{ return 204; }}
        location = /-/list/501 {{ internal; return 501; }}
        location = /-/list/empty {{
            internal;
            default_type application/xml;
            return 200 '<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name><Prefix></Prefix><KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>';
        }}
        location ^~ /-/list/ {{ internal; default_type application/xml; alias {state}/list/; etag off; }}
        location ^~ /-/errors/ {{ internal; default_type application/xml; alias {state}/errors/; etag off; }}
    }}
    server {{ listen unix:{state}/inner.sock; root {root}; etag off; max_ranges 1; }}
}}
"""
