use Digest::MD5;
$| = 1;
open(my $in, '<:raw', $ARGV[0]) or die $!;
my $data;
read($in, $data, -s $in) == -s $in or die 'short';
print "ready\n";
while (<STDIN>) {
	my $md5 = Digest::MD5->new;
	for (my $at = 0; $at < length $data; $at += 1 << 20) { $md5->add(substr($data, $at, 1 << 20)) }
	print $md5->hexdigest, "\n";
}
