require 'digest'
$stdout.sync = true
data = File.binread(ARGV[0])
puts 'ready'
puts Digest::MD5.hexdigest(data) while $stdin.gets
