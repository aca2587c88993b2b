module fnbridge.dev/functions/orders

go 1.19
