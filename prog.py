
import asyncio
async def bg(n):
    try: await asyncio.sleep(1000)
    except asyncio.CancelledError:
        print("cancelled",n,flush=True); raise
keep=[]
async def main():
    ts=[asyncio.create_task(bg(n)) for n in range(20)]
    await asyncio.sleep(0.3)
asyncio.run(main())
