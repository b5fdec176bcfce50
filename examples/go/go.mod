module vmdkbackup-example

go 1.21
