-- No digest in plain Lua: a sum over one byte in 61.
local file = io.open(arg[1], 'rb')
local data = file:read('a')
io.write('ready\n') io.flush()
for _ in io.lines() do
	local sum = 0
	for at = 1, #data, 61 do sum = (sum * 31 + data:byte(at)) % 4294967291 end
	io.write(sum, '\n') io.flush()
end
